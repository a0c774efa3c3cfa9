"""From an ELECTRA TensorFlow checkpoint to a fine-tuned classifier, without TensorFlow.

Needs: pip install './python[transformers]'
Usage: python examples/quickstart.py [CHECKPOINT]
"""

import sys

import electra_convert
import torch

checkpoint = sys.argv[1] if len(sys.argv) > 1 else "fixtures/trained"
tokenizer = electra_convert.load_tokenizer(checkpoint)
model = electra_convert.load(
    checkpoint, model="discriminator", cls="ElectraForSequenceClassification", num_labels=2
)

texts = ["the function returns a list", "this module is broken"]
labels = torch.tensor([1, 0])
batch = tokenizer(texts, padding=True, return_tensors="pt")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(20):
    loss = model(**batch, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(f"loss {loss.item():.3f}")
