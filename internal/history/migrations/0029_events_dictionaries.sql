-- In the order of users, neighbouring rows have few names, applications, networks and devices: a dictionary of them is a
-- quarter of the text. The server writes these five columns anew, which takes about a minute for 50 million events.
ALTER TABLE ${database}.events
    MODIFY COLUMN user_name LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN app_id LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN resource_id LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN prefix LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN device_id LowCardinality(String) CODEC(ZSTD(1))
