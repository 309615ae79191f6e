"""Models that embed photos and texts into one space: names, places, and the encoder over open_clip.

from search.models.encoder import load_encoder

encoder = load_encoder("starter")
photos = encoder.embed_images(np.stack([encoder.preprocess(image)]))  # float32 [1, d]
texts = encoder.embed_texts(["a dog on the beach"])                   # float32 [1, d]
similarity = photos @ texts.T
"""
