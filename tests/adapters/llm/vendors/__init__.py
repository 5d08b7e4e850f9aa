"""The adapters of the vendors, through their SDKs; apart, because those take seconds to import."""
