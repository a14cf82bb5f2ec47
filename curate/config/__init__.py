"""From a YAML file to checked values: `load`, `validation` (the words of errors), `units` (numbers), `yaml`."""
