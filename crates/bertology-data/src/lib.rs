//! Readers for GLUE and for any labelled texts, and the metrics of the GLUE tasks.
