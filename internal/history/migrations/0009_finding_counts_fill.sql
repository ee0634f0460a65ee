-- Fills finding_counts from every insert into findings.
CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.finding_counts_fill TO ${database}.finding_counts AS
SELECT
    tenant,
    toStartOfFiveMinutes(toDateTime(time, 'UTC')) AS bucket,
    detection,
    severity,
    disposition,
    uniqState(id) AS findings
FROM ${database}.findings
GROUP BY tenant, bucket, detection, severity, disposition
