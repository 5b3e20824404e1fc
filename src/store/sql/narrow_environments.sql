-- Which environments does a selection mean, and how many runs has each? The conditions are those of `selection.sql`.
SELECT environment.id, environment_summary.run_count
FROM environment
    JOIN environment_summary ON environment_summary.environment_id = environment.id
WHERE (:host IS NULL OR environment.host = :host)
    AND (:git_commit IS NULL OR substr(environment.git_commit, 1, length(:git_commit)) = :git_commit)
    AND (:framework IS NULL OR instr(lower(environment.framework_version), lower(:framework)) > 0
        OR instr(lower(environment.engine_version), lower(:framework)) > 0)
