"""One file per stage, with the name of the stage; `curate.registry` imports it when it is asked for."""
