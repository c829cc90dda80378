-- name: add
-- Make a placeholder of each site that is not known, in key order. No conflict target is named, so
-- that a sink inserting the same site at the same time conflicts on whichever index comes first.
INSERT INTO municipality (id, subdomain, placeholder)
SELECT id, subdomain, true
FROM unnest(%(ids)s::bigint[], %(subdomains)s::text[]) AS given (id, subdomain)
ORDER BY id
ON CONFLICT DO NOTHING

-- name: describe
-- Write what is known of a site, if that differs from what is stored.
UPDATE municipality
SET name = %(name)s, state = %(state)s, country = %(country)s,
    municipality_kind = %(municipality_kind)s, pages = %(pages)s,
    last_updated = %(last_updated)s, latitude = %(latitude)s, longitude = %(longitude)s,
    popup_data = %(popup_data)s, removed = %(removed)s, placeholder = false
WHERE id = %(id)s
  AND (name, state, country, municipality_kind, pages, last_updated, latitude, longitude,
       popup_data, removed, placeholder)
      IS DISTINCT FROM
      (%(name)s, %(state)s, %(country)s, %(municipality_kind)s, %(pages)s::bigint,
       %(last_updated)s, %(latitude)s::float8, %(longitude)s::float8, %(popup_data)s,
       %(removed)s, false)
