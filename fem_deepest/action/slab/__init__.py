"""The action of a network whose weights are sharded: slabs of the depth, and rows within a slab."""
