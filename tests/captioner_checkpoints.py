"""Small captioners with random weights, in the formats of open_clip and transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel

COCA: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 64,
        "head_width": 32,
        "patch_size": 16,
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
        "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
        "attn_pooler_heads": 2,
    },
}
_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_EYES = {**_SMALL, "image_size": 32, "patch_size": 16}
_SIZE = {"height": 32, "width": 32}


def save_coca(folder: Path) -> Path:
    """CoCa, in open_clip's `local-dir:` layout."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_cfg": {**COCA, "custom_text": True}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    network = open_clip.CoCa(**COCA)
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() > 1:  # open_clip leaves some as whatever lay in memory, awaiting a checkpoint
            torch.nn.init.normal_(parameter, std=0.3)
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def save_blip(folder: Path) -> Path:
    """BLIP with a tokenizer of a few words, whose start token is no word of the tokenizer, as in the real one."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["a", "man", "dog", "on", "in", "the", "bike", "red", "car", "sitting", "with", "and", "beach"]
    vocabulary = {word: number for number, word in enumerate([*marks, *words])}
    text = {
        **_SMALL,
        "vocab_size": len(vocabulary) + 2,
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "bos_token_id": len(vocabulary),
        "eos_token_id": 2,
        "pad_token_id": 0,
        "sep_token_id": vocabulary["[SEP]"],
    }
    torch.manual_seed(0)
    config = transformers.BlipConfig(text_config=text, vision_config=_EYES, image_text_hidden_size=16)
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    transformers.BlipImageProcessor(size=_SIZE).save_pretrained(folder)
    # The real repositories are older than this file.
    (folder / "generation_config.json").unlink()
    return folder


def save_blip2(folder: Path) -> Path:
    """BLIP-2 on OPT; a token stands for the picture, and a line break ends a sentence, as in the real one."""
    tokenizer = _bytes_tokenizer(
        ["<s>", "<pad>", "</s>", "<unk>"], bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="</s>"
    )
    picture = transformers.AddedToken("<image>", normalized=False, special=True)
    tokenizer.add_tokens([picture], special_tokens=True)
    text = transformers.OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        word_embed_proj_dim=32,
        bos_token_id=2,
        eos_token_id=tokenizer.convert_tokens_to_ids("Ċ"),
        pad_token_id=1,
    )
    torch.manual_seed(0)
    config = transformers.Blip2Config(
        vision_config=_EYES,
        qformer_config=_SMALL,
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    transformers.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    processor = transformers.BlipImageProcessor(size=_SIZE)
    transformers.Blip2Processor(processor, tokenizer, num_query_tokens=4).save_pretrained(folder)
    return folder


def save_vit_gpt2(folder: Path) -> Path:
    """A vision transformer that GPT-2 writes for; pickled weights, no processor, as in the real one."""
    tokenizer = _bytes_tokenizer(["<|endoftext|>"])
    eyes = transformers.ViTConfig(**_EYES)
    hand = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(eyes, hand)
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = 0
    torch.manual_seed(0)
    network = transformers.VisionEncoderDecoderModel(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.ViTImageProcessor(size=_SIZE).save_pretrained(folder)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "generation_config.json").unlink()
    return folder


def _bytes_tokenizer(marks: list[str], **roles: str) -> Any:
    """GPT-2's tokenizer with a word for each byte and no merges."""
    words = [*marks, *sorted(ByteLevel.alphabet())]
    return transformers.GPT2Tokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], **roles)
