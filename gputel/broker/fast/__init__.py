"""The hot requests, read and answered without aiohttp's parser, router and writer."""
