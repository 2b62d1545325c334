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

# How TLS sessions resume wherever there is a certificate. With the same secret on every node, on any of them.
# tls-sessions:
#   mode: ticket
#   secret: \${TLS_SECRET}

log:
  level: info

policy:
  # A node silent for this long is taken for dead.
  lease: 5s
  # How long an ended session is remembered, so that late use is recognised.
  retain-ended: 24h

# By mechanism: how many live sessions one principal may have, and what is kept of those that are over.
limits:
  - { mechanism: web, per-principal: 20, on-limit: evict-oldest }
  # - { mechanism: socks, per-principal: 500, retain-ended: 1h }
  # - { mechanism: netbios, per-principal: 64 }

# How long stopping may take.
drain: 10s

listeners:
  # Tells a reverse proxy who is behind a request: nginx auth_request, Traefik ForwardAuth, Caddy forward_auth.
  - mechanism: web
    name: verify
    host: 127.0.0.1
    port: 7080
    preset: aal2
    # tls: { cert: /etc/holdfast/cert.pem, key: /etc/holdfast/key.pem }

  # A SOCKS proxy (4, 4a and 5), each relay a session. Without users everybody may, and only from this machine.
  # - mechanism: socks
  #   name: proxy
  #   host: 127.0.0.1
  #   port: 1080
  #   users:
  #     # "holdfast password" makes the hash.
  #     - { name: alice, hash: "\${ALICE_HASH}" }
  #   # The first rule that matches decides; what none matches is denied. Allowing means public addresses unless said.
  #   rules:
  #     - { action: deny, ports: [25] }
  #     - { action: allow, principals: [alice], addresses: [10.0.0.0/8], ports: [22, "8000-8099"] }
  #     - { action: allow }
  #   udp: false
  #   bind: false
  #   upstream: ["socks5://user:\${PROXY_PASSWORD}@192.0.2.7:1080"]
  #   limits: { handshake: 15s, connect: 30s, bind: 2m, idle: 30m, absolute: 12h, connections: 20000 }

  # Named sessions in front of SMB servers, and the name service by which hosts find them. Ports below 1024 need the
  # right to bind them.
  # - mechanism: netbios
  #   name: files
  #   host: 192.0.2.10
  #   port: 139
  #   backends:
  #     nas: { host: 192.0.2.20 }
  #     old: { host: 192.0.2.21, speaks: netbios, called-name: OLDNAS }
  #   routes:
  #     - { called: FILESRV, backend: nas }
  #     - { called: OLDNAS, callers: [SCANNER1, SCANNER2], backend: old }
  #   # For names without a route, and for *SMBSERVER. Both are refused when left out.
  #   otherwise: { refuse: 0x82 }
  #   any-server: { refuse: 0x82 }
  #   keepalive: { every: 60s, during: idle }
  #   limits: { per-peer: 256, idle: 12h }
  #   name-service: { broadcast: 192.0.2.255, register: none }

  # Topics that people and programs write and read in dialogs that outlive their connections: WebSocket and event streams
  # at /dialog, and for curl and EventSource at /topics/NAME. Web logins may come, and users.
  # - mechanism: dialog
  #   name: talk
  #   host: 127.0.0.1
  #   port: 7710
  #   tcp-port: 7711
  #   tls: { cert: /etc/holdfast/cert.pem, key: /etc/holdfast/key.pem }
  #   users:
  #     - { name: alice, hash: "\${ALICE_HASH}" }
  #   topics:
  #     - { name: news, keep: 10000, readers: ["*"], writers: [alice] }
  #     - { name: syslog, writers: [] }
  #   hold: 2m

  # A syslog receiver (RFC 5424 over UDP, TCP and TLS) that writes such a topic.
  # - mechanism: syslog
  #   name: logs
  #   host: 127.0.0.1
  #   port: 5514
  #   topic: syslog
  #   keep: 100000
  #   tls-port: 6514
  #   tls: { cert: /etc/holdfast/cert.pem, key: /etc/holdfast/key.pem }

  # Uploads that go on where they stopped (tus, IETF resumable uploads), and ranged downloads of them. Without users,
  # tokens and web everybody may, and only from this machine.
  # - mechanism: transfer
  #   name: uploads
  #   host: 127.0.0.1
  #   port: 7090
  #   folder: ./data/uploads
  #   # Finished files appear here under their own names.
  #   deliver: ./data/incoming
  #   users:
  #     - { name: alice, hash: "\${ALICE_HASH}" }
  #   tokens:
  #     - { name: backup, token: "\${BACKUP_TOKEN}" }
  #   # Whoever is signed in through the web listener may too, and signing out ends the upload.
  #   web: { cookie: __Host-session }
  #   origins: ["https://app.example"]
  #   limits: { max-bytes: 1099511627776, expires: 24h, max-age: 7d, open-uploads: 1000, idle: 1m }
`;
