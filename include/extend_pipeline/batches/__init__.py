"""A chunk on its way: what it sends, as which batch, what became of its documents."""
