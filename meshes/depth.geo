// Depth from 0 to 4 in 24 cells that grow by a tenth: fine at the input, where a network works most.
n = 24;
Point(1) = {0, 0, 0};
Point(2) = {4, 0, 0};
Line(1) = {1, 2};
Transfinite Curve {1} = n + 1 Using Progression 1.1;
Physical Curve("depth", 1) = {1};
