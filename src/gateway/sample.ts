export const sampleConfig: string = `# Holdfast's configuration. Every member may be left out; what is commented shows the default.
# \${NAME} in a text is replaced by that environment variable. docs/gateway.md explains all of it.

# This process's name; it must be unique among those that share a store.
# node: gw-1

# Folder for what the gateway keeps on this machine: sessions (LMDB), and how the command line finds it.
data: data

# Where sessions live.
store:
  # Processes of one machine share a folder. For many machines:
  #   kind: redis
  #   url: \${REDIS_URL}
  # or
  #   kind: postgres
  #   url: \${DATABASE_URL}
  kind: lmdb
  # path: data
  # Live records held in this process's memory, kept coherent by the store; false for none.
  # nearCache: 100000

# Limits that hold whatever a mechanism asks for.
policy:
  # A process silent for this long is taken for dead; one that is cut off closes its connections within it.
  # lease: 5s
  # How long an ended session is remembered, so that late use is recognised.
  # retainEnded: 24h
  mechanisms: {}
  #   web:
  #     absolute: 12h
  #     perPrincipal: 10
  #     onLimit: evict-oldest
  #     principals:
  #       ci-robot: 100

# Console, admin API, metrics and health. Beyond the loopback it needs tls.
admin:
  # host: 127.0.0.1
  port: 7070
  # tls:
  #   certificate: /etc/holdfast/tls.crt
  #   key: /etc/holdfast/tls.key

log:
  # trace, debug, info, warn, error or silent
  level: info

# How long a stop waits for what is open.
drain: 30s

listeners:
  # Web sessions for applications behind nginx, Traefik or Caddy: /verify answers whether a request has one.
  - mechanism: web
    port: 7080
    # signIn: /sign-in
    # cookie:
    #   name: __Host-session
`;
