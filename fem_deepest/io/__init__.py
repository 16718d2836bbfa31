"""What a run leaves behind: run directory, checkpoint, fields for ParaView."""
