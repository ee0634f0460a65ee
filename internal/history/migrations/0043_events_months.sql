-- A month that nothing was written into for a week becomes one part: what is asked about months reads few, and FINAL has
-- nothing to merge.
ALTER TABLE ${database}.events
    MODIFY SETTING min_age_to_force_merge_seconds = 604800, min_age_to_force_merge_on_partition_only = 1
