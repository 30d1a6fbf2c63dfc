"""The functions of PromQL: values in, values out."""
