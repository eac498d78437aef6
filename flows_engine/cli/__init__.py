"""The ``flows`` command. Each module is one command or one group of them; what they share is in ``options``
(``--data-dir`` and the like), ``failures`` (exit codes), ``output`` and ``documents`` (files given by the user)."""
