//! Studies of what happens inside transformers: importance, masking and pruning of heads.
