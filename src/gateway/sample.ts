/** What `holdfast init` writes: every member, those with a default commented out. A test reads it back. */
export const sampleConfig: string = `# Holdfast gateway. Every member may be left out; what is commented out shows the default.

# This process's name, unique among those that share the store.
# node: gateway-1

# Folder for what belongs to this gateway: the embedded store, and admin.json for the command line.
data: ./data

# Where sessions are kept: lmdb (this machine), redis or postgres (many machines), memory (gone with the process).
store:
  kind: lmdb
  # kind: redis
  # url: \${REDIS_URL}
  # near-cache: 100000

# The console, its API, /metrics, /healthz and /readyz.
admin:
  host: 127.0.0.1
  port: 7070
  # tls: { cert: /etc/holdfast/cert.pem, key: /etc/holdfast/key.pem }

log:
  level: info

policy:
  # A node silent for this long is taken for dead.
  lease: 5s
  # How long an ended session is remembered, so that late use is recognised.
  retain-ended: 24h

# How many live sessions one principal may have.
limits:
  - { mechanism: web, per-principal: 20, on-limit: evict-oldest }

# How long stopping may take.
drain: 10s

listeners:
  # Tells a reverse proxy who is behind a request: nginx auth_request, Traefik ForwardAuth, Caddy forward_auth.
  - mechanism: web
    name: verify
    host: 127.0.0.1
    port: 7080
    preset: aal2
`;
