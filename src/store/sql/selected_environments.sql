-- Which environments a selection means.
    AND (:host IS NULL OR environment.host = :host)
    AND (:git_commit IS NULL OR substr(environment.git_commit, 1, length(:git_commit)) = :git_commit)
    AND (:framework IS NULL OR instr(lower(environment.framework_version), lower(:framework)) > 0
        OR instr(lower(environment.engine_version), lower(:framework)) > 0)
