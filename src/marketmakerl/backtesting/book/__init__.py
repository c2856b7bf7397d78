"""A book of levels, which the exchange has one of and the maker, where a model asks for depth, another."""
