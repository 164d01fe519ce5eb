"""PyTorch's side of bench/scaling: DistributedDataParallel over gloo, the same network, batch and optimizer.

    scaling_torch.py RANKS THREADS SECONDS BATCH     prints one JSON line: a step of rank 0, the time that a fifth of them stay below
"""
import json
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch_models as models  # noqa: E402


def work(rank, ranks, threads, seconds, batch):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = models.SmallCnn(dropouts=(0, 0, 0))
    if ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29577")
        dist.init_process_group("gloo", rank=rank, world_size=ranks)
        net = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    x, y = torch.randn(batch // ranks, 1, 28, 28), torch.randint(0, 10, (batch // ranks,))

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(x), y).backward()
        optimizer.step()

    for _ in range(5):
        step()
    times, begin = [], time.perf_counter()
    while True:
        if ranks > 1:
            dist.barrier()
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
        done = torch.tensor([time.perf_counter() - begin > seconds], dtype=torch.int64)
        if ranks > 1:
            dist.all_reduce(done)
        if done.item() > 0:
            break
    if rank == 0:
        print(json.dumps({"ranks": ranks, "threads": threads, "step": sorted(times)[len(times) // 5]}), flush=True)
    if ranks > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    n, per_rank, limit, samples = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    if n == 1:
        work(0, 1, per_rank, limit, samples)
    else:
        torch.multiprocessing.spawn(work, args=(n, per_rank, limit, samples), nprocs=n)
