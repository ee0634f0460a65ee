-- One row a mark: what a person made of a finding. Of a finding's marks the greatest by time and id holds.
CREATE TABLE IF NOT EXISTS ${database}.marks
(
    tenant     LowCardinality(String),
    finding    FixedString(16) CODEC(NONE),
    time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id         FixedString(16) CODEC(NONE),
    logged     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    detection  LowCardinality(String),
    user_id    String CODEC(ZSTD(1)),
    -- The finding's own time, so that the marks of a span of findings are counted without the findings.
    found      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    verdict    LowCardinality(String),
    comment    String CODEC(ZSTD(1)),
    assignee   String CODEC(ZSTD(1)),
    set_by     String CODEC(ZSTD(1)),
    INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(logged)
-- Not partitioned: people make few.
ORDER BY (tenant, finding, time, id)
TTL toDateTime(logged) + INTERVAL 400 DAY
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1
