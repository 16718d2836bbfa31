// Disc of radius 1/2 about (1/2, 1/2): fills the box of the unit square.
h = 0.03;
Point(1) = {0.5, 0.5, 0, h};
Point(2) = {1.0, 0.5, 0, h};
Point(3) = {0.5, 1.0, 0, h};
Point(4) = {0.0, 0.5, 0, h};
Point(5) = {0.5, 0.0, 0, h};
Circle(1) = {2, 1, 3};
Circle(2) = {3, 1, 4};
Circle(3) = {4, 1, 5};
Circle(4) = {5, 1, 2};
Curve Loop(1) = {1, 2, 3, 4};
Plane Surface(1) = {1};
Physical Surface("disc", 1) = {1};
