import io.fabric8.kubernetes.client.http.HttpClient;
import io.fabric8.kubernetes.client.jdkhttp.JdkHttpClientFactory;
import io.fabric8.kubernetes.client.okhttp.OkHttpClientFactory;
import io.fabric8.kubernetes.client.vertx.VertxHttpClientFactory;
import io.vertx.ext.web.client.WebClientOptions;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;

/** The HTTP clients that this library can be had with, and what each can be told of a profile. */
enum Transport {
    /** The library's default. Vert.x knows of SO_KEEPALIVE but not of its numbers, and so the JDK's sockets have none. */
    VERTX("tcp-keepalive-os", "read-timeout") {
        @Override
        HttpClient.Factory factory(String profile, Map<String, Object> settings) {
            if (profile.equals("tcp-keepalive-os")) {
                settings.put("keepalive", true);
            }
            if (profile.equals("read-timeout")) {
                settings.put("read_timeout_seconds", Program.number("READ_TIMEOUT"));
            }
            return new VertxHttpClientFactory() {
                @Override
                protected void additionalConfig(WebClientOptions options) {
                    if (profile.equals("tcp-keepalive-os")) {
                        options.setTcpKeepAlive(true);
                    }
                    if (profile.equals("read-timeout")) {
                        options.setIdleTimeoutUnit(TimeUnit.MILLISECONDS);
                        options.setReadIdleTimeout((int) Math.round(Program.number("READ_TIMEOUT") * 1000));
                    }
                }
            };
        }
    },

    /** A WebSocket of OkHttp has no read timeout, whatever the client's. */
    OKHTTP("tcp-keepalive-os", "tcp-keepalive") {
        @Override
        HttpClient.Factory factory(String profile, Map<String, Object> settings) {
            boolean numbers = profile.equals("tcp-keepalive");
            if (profile.startsWith("tcp-keepalive")) {
                settings.put("keepalive", true);
            }
            if (numbers) {
                settings.put("keepalive_idle_seconds", (int) Program.number("KEEPALIVE_IDLE"));
                settings.put("keepalive_interval_seconds", (int) Program.number("KEEPALIVE_INTERVAL"));
                settings.put("keepalive_count", (int) Program.number("KEEPALIVE_COUNT"));
            }
            return new OkHttpClientFactory() {
                @Override
                protected void additionalConfig(OkHttpClient.Builder builder) {
                    if (profile.startsWith("tcp-keepalive")) {
                        builder.socketFactory(new KeepaliveSockets(numbers));
                    }
                }
            };
        }
    },

    /** Nothing can be told to the sockets of java.net.http. */
    JDK() {
        @Override
        HttpClient.Factory factory(String profile, Map<String, Object> settings) {
            return new JdkHttpClientFactory();
        }
    };

    final Set<String> profiles;

    Transport(String... profiles) {
        this.profiles = Set.of(profiles);
    }

    /** Also enters into {@code settings} what it sets. */
    abstract HttpClient.Factory factory(String profile, Map<String, Object> settings);
}
