"""How action providers are called: built-in ones in-process, others over guarded HTTP. The same five requests."""
