-- The labels of each GPU as they were last seen, so that records that leave some out, such as those
-- of a push with the required fields alone, do not take them away.

ALTER TABLE gpu ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN gpu.labels IS
    'Labels of the GPU by name, each as it was last seen: none of them is empty.';

UPDATE gpu AS g
SET labels = known.labels
FROM (
    SELECT uuid, jsonb_strip_nulls(jsonb_build_object(
               'device', (array_agg(device ORDER BY place) FILTER (WHERE device <> ''))[1],
               'model_name', (array_agg(model_name ORDER BY place) FILTER (WHERE model_name <> ''))[1],
               'hostname', (array_agg(hostname ORDER BY place) FILTER (WHERE hostname <> ''))[1],
               'gpu_id', (array_agg(gpu_id ORDER BY place) FILTER (WHERE gpu_id <> ''))[1]
           )) AS labels
    FROM (
        SELECT s.*, (s.series_id <> of.series_id, -s.series_id) AS place
        FROM series AS s JOIN gpu AS of USING (uuid)
    ) AS placed
    GROUP BY uuid
) AS known
WHERE g.uuid = known.uuid;
