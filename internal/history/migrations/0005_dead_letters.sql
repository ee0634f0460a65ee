-- One row for each record that could not be taken in, with the reason and its untouched bytes.
CREATE TABLE IF NOT EXISTS ${database}.dead_letters
(
    time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id        String CODEC(ZSTD(1)),
    logged    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    source    LowCardinality(String),
    stage     LowCardinality(String),
    reason    String CODEC(ZSTD(1)),
    topic     LowCardinality(String),
    partition Int32 CODEC(ZSTD(1)),
    offset    Int64 CODEC(ZSTD(1)),
    line      Int64 CODEC(ZSTD(1)),
    -- The record's full length, which is more than that of bytes when those had to be cut.
    size      UInt64 CODEC(ZSTD(1)),
    bytes     String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(logged)
PARTITION BY toYYYYMM(time)
-- People look at the newest ones.
ORDER BY (time, id)
-- The bytes may hold anything, personal data as well: they go when the topic's own copy goes.
TTL toDateTime(logged) + INTERVAL 30 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    fsync_after_insert = 1,
    fsync_part_directory = 1
