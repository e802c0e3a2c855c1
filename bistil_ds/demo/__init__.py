"""The whole pipeline on the embedded sample: what each part buys, as a table, a picture and a record."""
