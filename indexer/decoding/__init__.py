"""Decoding photos in processes of their own, so that a picture that crashes or never ends costs one photo.

from indexer.decoding.decoders import Decoders

with Decoders.of_process(2) as decoders:
    image = decoders.picture(Path("beach.jpg").read_bytes(), draft=(224, 224))  # RGB, upright

`child` is what runs in such a process, and `tasks` what it does with a photo; `channel` is how it is spoken to. On the
other side, `process` has it started and ended, `worker` asks it, starts it anew when it has died and says which photo
was at fault, and `pool` lends several of them. `answers` believes nothing
of what they say, and `failures` remembers what took long in vain. `gpu` has large JPEGs decoded by GPUs, in processes
that do what `gpu_tasks` says.
"""
