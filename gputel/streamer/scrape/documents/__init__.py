"""Documents of people and programs: a file in YAML or JSON comes in, checked values go out."""
