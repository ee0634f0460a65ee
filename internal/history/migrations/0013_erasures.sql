-- One row a person whom the history must not know any more, from the log's erasures. Rows of before that time are deleted
-- whenever they are there: also those that are written again when the log is read anew.
CREATE TABLE IF NOT EXISTS ${database}.erasures
(
    tenant  LowCardinality(String),
    user_id String CODEC(ZSTD(1)),
    before  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    logged  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(logged)
ORDER BY (tenant, user_id, before)
-- Longer than any topic keeps the person's records, which is 400 days for marks; then this goes as well.
TTL toDateTime(logged) + INTERVAL 430 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
