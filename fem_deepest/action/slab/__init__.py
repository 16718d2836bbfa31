"""The action of a network whose depth is dealt out in slabs and whose weights are sharded."""
