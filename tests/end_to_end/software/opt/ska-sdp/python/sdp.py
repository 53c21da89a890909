NAME = "a library of the pipeline"
