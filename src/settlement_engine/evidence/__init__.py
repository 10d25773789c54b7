"""Evidence about one settlement: what is exported, explained and verified; values in, values out."""
