//! The files of a proxy: its base configuration, the template, and the target in conf.d. Pure.
//!
//! The template is a Go template, so that sidekick and confd render the same one.

use std::path::Path;

use crate::variant::{Kind, Method, Variant};

/// The path of the rendered file, below the proxy's directory.
pub(crate) fn live(kind: Kind) -> &'static str {
    match kind {
        Kind::Haproxy => "live/web.cfg",
        Kind::Nginx => "live/web.conf",
    }
}

/// All files that a proxy needs at its start, by path below the proxy's directory.
pub(crate) fn all(
    variant: Variant,
    dir: &Path,
    port: u16,
    health: u16,
) -> Vec<(&'static str, String)> {
    let fill = |text: &str| {
        text.trim_start()
            .replace("DIR", &dir.display().to_string())
            .replace("FRONT", &port.to_string())
            .replace("HEALTH", &health.to_string())
    };
    let target = ("conf/conf.d/web.toml", target(variant, dir));
    let rest = match variant.kind {
        Kind::Haproxy => vec![
            ("base.cfg", fill(HAPROXY_BASE)),
            (live(variant.kind), "backend web\n".to_owned()),
            ("conf/templates/web.tmpl", fill(HAPROXY_TEMPLATE)),
        ],
        Kind::Nginx => vec![
            ("nginx.conf", fill(NGINX_BASE)),
            ("frame.conf", fill(NGINX_FRAME)),
            ("check.sh", fill(NGINX_CHECK)),
            (live(variant.kind), NGINX_EMPTY.to_owned()),
            ("conf/templates/web.tmpl", fill(NGINX_TEMPLATE)),
        ],
    };
    rest.into_iter().chain([target]).collect()
}

fn target(variant: Variant, dir: &Path) -> String {
    let dir = dir.display();
    let (check, signal) = match variant.kind {
        Kind::Haproxy => (
            format!("haproxy -c -q -f {dir}/base.cfg -f {{{{.src}}}}"),
            "USR2",
        ),
        Kind::Nginx => (format!("sh {dir}/check.sh {{{{.src}}}}"), "HUP"),
    };
    let text = format!(
        "[template]\nsrc = 'web.tmpl'\ndest = '{dir}/{}'\nkeys = ['/services/web']\ncheck_cmd = '{check}'\n",
        live(variant.kind)
    );
    let by_signal = format!("[template.reload]\nsignal = '{signal}'\npidfile = '{dir}/pid'\n");
    let by_master = format!("[template.reload]\nhaproxy_master = '{dir}/master.sock'\n");
    let runtime =
        format!("[template.haproxy]\nsocket = '{dir}/admin.sock'\nbase = '{dir}/base.cfg'\n");
    let reload = match (variant.method, variant.kind) {
        (Method::Confd, _) => format!("reload_cmd = 'kill -{signal} $(cat {dir}/pid)'\n"),
        (Method::Reload, Kind::Haproxy) => by_master,
        (Method::Runtime, Kind::Haproxy) => runtime + &by_master,
        // nginx has no runtime changes.
        (Method::Reload | Method::Runtime, Kind::Nginx) => by_signal,
    };
    text + &reload
}

const HAPROXY_BASE: &str = "
global
    maxconn 4000
    stats socket DIR/admin.sock mode 600 level admin expose-fd listeners
    # Old workers end in any case.
    hard-stop-after 60s

defaults
    mode http
    # A reload closes no idle connection on which a client may be sending at this moment.
    option idle-close-on-response
    # Each retry goes to another server, at once.
    option redispatch 1
    retries 3
    # A request that a server refuses or does not answer is sent to another one, if it is safe to send it twice.
    retry-on all-retryable-errors
    timeout connect 250ms
    timeout check 250ms
    timeout server 2s
    timeout queue 2s
    timeout client 30s
    timeout http-request 5s
    timeout http-keep-alive 30s

frontend http
    bind 127.0.0.1:FRONT
    http-request disable-l7-retry unless METH_GET
    default_backend web
";

/// Health checks go to a port of their own, so that their packets can be told from those of requests.
const HAPROXY_TEMPLATE: &str = r#"
backend web
    balance roundrobin
    option httpchk GET /health
    http-check connect port HEALTH
{{range $id := lsdir "/services/web"}}{{$at := printf "/services/web/%s" $id}}{{if exists (printf "%s/ip" $at)}}    server {{$id}} {{getv (printf "%s/ip" $at)}}:{{getv (printf "%s/port" $at)}} check inter 500ms fall 2 rise 1 observe layer4 error-limit 1 on-error fail-check weight {{if eq (getv (printf "%s/state" $at) "up") "up"}}100{{else}}0{{end}}
{{end}}{{end}}"#;

const NGINX_BASE: &str = r#"
user root;
worker_processes 2;
daemon off;
pid DIR/pid;
error_log DIR/error.log notice;
worker_shutdown_timeout 60s;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    include DIR/live/*.conf;
    server {
        listen 127.0.0.1:FRONT;
        keepalive_timeout 30s;
        keepalive_requests 100000;
        location / {
            proxy_pass http://svc_web;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 250ms;
            proxy_read_timeout 2s;
            proxy_next_upstream error timeout http_502 http_503;
        }
    }
}
"#;

/// A whole configuration around the rendered part, since nginx checks whole configurations only.
const NGINX_FRAME: &str = r#"
pid DIR/check.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path DIR/check-body;
    proxy_temp_path DIR/check-proxy;
    fastcgi_temp_path DIR/check-fastcgi;
    uwsgi_temp_path DIR/check-uwsgi;
    scgi_temp_path DIR/check-scgi;
    include "STAGED";
}
"#;

const NGINX_CHECK: &str = r#"
f=$(mktemp DIR/check.XXXXXX) && sed "s#STAGED#$1#" DIR/frame.conf >"$f" && nginx -t -q -e stderr -c "$f"
s=$?
rm -f "$f"
exit $s
"#;

const NGINX_EMPTY: &str = "upstream svc_web { server unix:/nobody.sock down; }\n";

const NGINX_TEMPLATE: &str = r#"
upstream svc_web {
    zone svc_web 512k;
{{range $id := lsdir "/services/web"}}{{$at := printf "/services/web/%s" $id}}{{if exists (printf "%s/ip" $at)}}    server {{getv (printf "%s/ip" $at)}}:{{getv (printf "%s/port" $at)}} max_fails=1 fail_timeout=5s{{if ne (getv (printf "%s/state" $at) "up") "up"}} down{{end}}; # {{$id}}
{{end}}{{else}}    server unix:/nobody.sock down;
{{end}}    keepalive 32;
}
"#;
