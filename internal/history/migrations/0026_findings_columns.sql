-- What findings are filtered and drawn by, besides 0002. Rows from before take it from their record.
ALTER TABLE ${database}.findings
    ADD COLUMN IF NOT EXISTS app_id String DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'app', 'id') CODEC(ZSTD(1)) AFTER ip,
    ADD COLUMN IF NOT EXISTS prefix String DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'network', 'prefix') CODEC(ZSTD(1)) AFTER app_id,
    ADD COLUMN IF NOT EXISTS lat Float64 DEFAULT JSONExtractFloat(raw, 'evidence', 'sight', 'place', 'lat') CODEC(ZSTD(1)) AFTER prefix,
    ADD COLUMN IF NOT EXISTS lon Float64 DEFAULT JSONExtractFloat(raw, 'evidence', 'sight', 'place', 'lon') CODEC(ZSTD(1)) AFTER lat,
    ADD COLUMN IF NOT EXISTS city LowCardinality(String) DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'place', 'city') AFTER lon,
    ADD COLUMN IF NOT EXISTS region LowCardinality(String) DEFAULT JSONExtractString(raw, 'evidence', 'sight', 'place', 'region') AFTER city
