"""What every benchmark stands on: flags, record, clock, statistics, tables, pictures, processes of their own."""
