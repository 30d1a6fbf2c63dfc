"""The fast path: answers hot requests without aiohttp's parser, router and writer."""
