"""From the shell to the logits of one sentence in Python: `startup_peer.py MODEL TEXT`."""

import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder, text = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
with torch.no_grad():
    print(model(**tokenizer(text, return_tensors="pt")).logits.tolist())
