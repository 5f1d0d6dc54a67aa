//! From a model name to a folder on disk: local folders, the cache of the user, the Hugging Face hub.
