-- What ingest took the record for, without which it cannot be sent again. Empty where another stage refused it.
ALTER TABLE ${database}.dead_letters
    ADD COLUMN IF NOT EXISTS format LowCardinality(String) AFTER line
