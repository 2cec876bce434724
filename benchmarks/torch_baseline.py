"""What one would run instead of protlm: BERT and T5 of transformers in PyTorch on the CPU, with padded batches.

    python3 torch_baseline.py LENGTHS MODEL TASK TOKENS THREADS [LAYERS] [compile]

LENGTHS: a file of protein lengths, one a line; the first ones up to TOKENS tokens are used (two special tokens each).
MODEL: small | medium | protbert | prott5 (ProtT5-XL's encoder), with LAYERS instead of its own if given.  TASK: train (AdamW, clipping to norm 1, proteins cut to 512 tokens) | embed (mean).
Batches hold at most 4,096 tokens counted with padding: sorted by length for embedding, bucketed in windows of 64
proteins for training. Prints real (unpadded) tokens per second.
"""
import random
import sys
import time

import torch
import transformers

SHAPES = {"small": (256, 6, 8, 1024), "medium": (512, 8, 8, 2048), "protbert": (1024, 30, 16, 4096),
          "prott5": (1024, 24, 32, 16384)}
BUDGET = 4096


def read_lengths(path, total, limit):
    lengths = []
    with open(path) as lines:
        for line in lines:
            lengths.append(min(int(line) + 2, limit))
            if sum(lengths) >= total:
                break
    return lengths


def make_batches(lengths, window):
    batches = []
    for start in range(0, len(lengths), window):
        batch = []
        for length in sorted(lengths[start:start + window]):
            if batch and length * (len(batch) + 1) > BUDGET:
                batches.append(batch)
                batch = []
            batch.append(length)
        if batch:
            batches.append(batch)
    return batches


def make_model(name, task, layers):
    width, own_layers, heads, inner = SHAPES[name]
    layers = layers or own_layers
    if name == "prott5":
        assert task == "embed", "prott5 is measured embedding"
        return transformers.T5EncoderModel(transformers.T5Config(
            vocab_size=128, d_model=width, d_kv=128, d_ff=inner, num_layers=layers, num_heads=heads,
            feed_forward_proj="relu", dropout_rate=0.0)).eval()
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=40000, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0)
    config._attn_implementation = "sdpa"
    if task == "train":
        return transformers.BertForMaskedLM(config).train()
    return transformers.BertModel(config, add_pooling_layer=False).eval()


def make_inputs(batch):
    longest = max(batch)
    tokens = torch.randint(5, 30, (len(batch), longest))
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for row, length in enumerate(batch):
        mask[row, :length] = 1
    return tokens, mask


def main():
    path, name, task, total, threads = sys.argv[1:6]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    random.seed(0)
    options = sys.argv[6:]
    model = make_model(name, task, next((int(option) for option in options if option.isdigit()), 0))
    run = torch.compile(model, dynamic=True) if "compile" in options else model
    lengths = read_lengths(path, int(total), 512 if task == "train" else 10**9)
    batches = make_batches(lengths, 64 if task == "train" else len(lengths))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) if task == "train" else None

    def step(batch):
        tokens, mask = make_inputs(batch)
        if task == "embed":
            with torch.no_grad():
                hidden = run(input_ids=tokens, attention_mask=mask).last_hidden_state
            return [hidden[row, :length].mean(0) for row, length in enumerate(batch)]
        labels = torch.where((torch.rand(tokens.shape) < 0.15) & (mask == 1), tokens, -100)
        run(input_ids=tokens, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for batch in (batches[len(batches) // 2], batches[0], batches[-1]):
        step(batch)
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    seconds = time.perf_counter() - start
    padded = sum(max(batch) * len(batch) for batch in batches)
    print(f"tokens_per_second {sum(lengths) / seconds:.0f} padding {1 - sum(lengths) / padded:.3f} seconds {seconds:.1f}")


main()
