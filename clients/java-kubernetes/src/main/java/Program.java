import com.google.gson.Gson;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.util.ClientBuilder;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.StandardSocketOptions;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import javax.net.SocketFactory;
import jdk.net.ExtendedSocketOptions;
import sun.misc.Signal;

/** What both programs of this folder share: the contract's side, and the client with what a profile sets on it. */
final class Program {
    static final String NAMESPACE = System.getenv("WATCHER_NAMESPACE");
    static final String SELECTOR = "metadata.name=" + System.getenv("WATCHER_NAME");

    private static final Gson GSON = new Gson();

    final String profile = System.getenv("WATCHER_PROFILE");
    final Map<String, Object> settings = new LinkedHashMap<>();

    /** Ends the program with 127 if the profile is not one of these. */
    Program(Set<String> profiles) {
        Signal.handle(new Signal("TERM"), signal -> Runtime.getRuntime().halt(0));
        if (!profiles.contains(profile)) {
            System.exit(127);
        }
    }

    static double number(String name) {
        return Double.parseDouble(System.getenv("WATCHER_" + name));
    }

    static synchronized void emit(String event, Object... fields) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("event", event);
        for (int i = 0; i < fields.length; i += 2) {
            line.put((String) fields[i], fields[i + 1]);
        }
        System.out.println(GSON.toJson(line));
        System.out.flush();
    }

    static void observed(V1ConfigMap configMap) {
        Map<String, String> data = configMap.getData();
        String nonce = data == null ? "" : data.getOrDefault("nonce", "");
        emit("observed", "nonce", nonce, "resourceVersion", configMap.getMetadata().getResourceVersion());
    }

    void started() throws IOException {
        Properties library = new Properties();
        library.load(ClientBuilder.class.getResourceAsStream("/META-INF/maven/io.kubernetes/client-java/pom.properties"));
        String runtime = System.getProperty("java.vm.name") + " " + Runtime.version();
        emit("started", "library", "io.kubernetes:client-java", "version", library.getProperty("version"),
                "runtime", runtime, "settings", settings);
    }

    ApiClient client() throws IOException {
        ClientBuilder builder = ClientBuilder.standard();
        if (profile.equals("read-timeout")) {
            settings.put("read_timeout_seconds", number("READ_TIMEOUT"));
            builder.setReadTimeout(seconds(number("READ_TIMEOUT")));
        }
        if (profile.equals("http2-ping")) {
            // OkHttp has one number for both: an answer has to come before the next PING is due.
            settings.put("ping_idle_seconds", number("PING_IDLE"));
            settings.put("ping_timeout_seconds", number("PING_IDLE"));
            builder.setPingInterval(seconds(number("PING_IDLE")));
        }
        ApiClient client = builder.build();
        if (profile.startsWith("tcp-keepalive")) {
            settings.put("keepalive", true);
            boolean numbers = profile.equals("tcp-keepalive");
            if (numbers) {
                settings.put("keepalive_idle_seconds", (int) number("KEEPALIVE_IDLE"));
                settings.put("keepalive_interval_seconds", (int) number("KEEPALIVE_INTERVAL"));
                settings.put("keepalive_count", (int) number("KEEPALIVE_COUNT"));
            }
            SocketFactory sockets = new KeepaliveSockets(numbers);
            client.setHttpClient(client.getHttpClient().newBuilder().socketFactory(sockets).build());
        }
        return client;
    }

    private static Duration seconds(double number) {
        return Duration.ofMillis(Math.round(number * 1000));
    }

    /** OkHttp asks for sockets that are not connected yet, and no others. */
    private static final class KeepaliveSockets extends SocketFactory {
        private final boolean numbers;

        KeepaliveSockets(boolean numbers) {
            this.numbers = numbers;
        }

        @Override
        public Socket createSocket() throws IOException {
            Socket socket = new Socket();
            socket.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
            if (numbers) {
                socket.setOption(ExtendedSocketOptions.TCP_KEEPIDLE, (int) number("KEEPALIVE_IDLE"));
                socket.setOption(ExtendedSocketOptions.TCP_KEEPINTERVAL, (int) number("KEEPALIVE_INTERVAL"));
                socket.setOption(ExtendedSocketOptions.TCP_KEEPCOUNT, (int) number("KEEPALIVE_COUNT"));
            }
            return socket;
        }

        @Override
        public Socket createSocket(String host, int port) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Socket createSocket(String host, int port, InetAddress localHost, int localPort) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Socket createSocket(InetAddress host, int port) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Socket createSocket(InetAddress host, int port, InetAddress localHost, int localPort) {
            throw new UnsupportedOperationException();
        }
    }
}
