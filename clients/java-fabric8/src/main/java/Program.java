import com.fasterxml.jackson.databind.ObjectMapper;
import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.Version;
import io.fabric8.kubernetes.client.dsl.Resource;
import io.fabric8.kubernetes.client.http.AsyncBody;
import io.fabric8.kubernetes.client.http.HttpClient;
import io.fabric8.kubernetes.client.http.HttpRequest;
import io.fabric8.kubernetes.client.http.HttpResponse;
import io.fabric8.kubernetes.client.http.Interceptor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import sun.misc.Signal;

/** What both programs of this folder share: the contract's side, and the client with what a profile sets on it. */
final class Program {
    private static final ObjectMapper JSON = new ObjectMapper();

    final String profile = System.getenv("WATCHER_PROFILE");
    final Map<String, Object> settings = new LinkedHashMap<>();
    private final Transport transport;

    /** {@code name} is that of a {@link Transport}; ends the program with 127 if nothing here can do the profile. */
    Program(String name, Set<String> profiles) {
        Signal.handle(new Signal("TERM"), signal -> Runtime.getRuntime().halt(0));
        transport = Transport.valueOf(name.toUpperCase());
        Set<String> all = new HashSet<>(profiles);
        all.addAll(transport.profiles);
        if (!all.contains(profile)) {
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
        try {
            System.out.println(JSON.writeValueAsString(line));
            System.out.flush();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    static void observed(ConfigMap configMap) {
        Map<String, String> data = configMap.getData();
        String nonce = data == null ? "" : data.getOrDefault("nonce", "");
        emit("observed", "nonce", nonce, "resourceVersion", configMap.getMetadata().getResourceVersion());
    }

    void started() {
        String runtime = System.getProperty("java.vm.name") + " " + Runtime.version();
        emit("started", "library", "io.fabric8:kubernetes-client", "version", Version.clientVersion(),
                "runtime", runtime, "settings", settings);
    }

    KubernetesClient client() {
        HttpClient.Factory factory = transport.factory(profile, settings);
        return new KubernetesClientBuilder()
                .withHttpClientFactory(factory)
                .withHttpClientBuilderConsumer(builder -> builder.addOrReplaceInterceptor("answers", new Answers()))
                .build();
    }

    static Resource<ConfigMap> trigger(KubernetesClient client) {
        String namespace = System.getenv("WATCHER_NAMESPACE");
        return client.configMaps().inNamespace(namespace).withName(System.getenv("WATCHER_NAME"));
    }

    /** The client watches anew by itself; only here can be seen that it did. */
    private static final class Answers implements Interceptor {
        @Override
        public void after(HttpRequest request, HttpResponse<?> response, AsyncBody.Consumer<List<ByteBuffer>> consumer) {
            boolean watch = String.valueOf(request.uri().getQuery()).contains("watch=true");
            if (watch && (response.code() == 101 || response.isSuccessful())) {
                emit("watching", "status", response.code());
            }
        }
    }
}
