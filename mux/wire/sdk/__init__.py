"""The JSON client protocol of Centrifugo, which its SDKs speak."""
