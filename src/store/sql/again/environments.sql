SELECT environment.host, environment.os, environment.kernel, environment.cpu_name, environment.cpu_governor,
    environment.driver_version, selected.engine, environment.engine_version, environment.framework_version,
    environment.tool_version, substr(environment.git_commit, 1, 10) AS git_commit, environment.git_dirty,
    count(*) AS runs, min(selected.started_at) AS first_run, max(selected.started_at) AS last_run
FROM selected JOIN environment ON environment.id = selected.environment_id
GROUP BY environment.id, selected.engine
ORDER BY last_run DESC, environment.id DESC, selected.engine
