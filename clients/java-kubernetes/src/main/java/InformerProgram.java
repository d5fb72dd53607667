import io.kubernetes.client.informer.ResourceEventHandler;
import io.kubernetes.client.informer.SharedInformerFactory;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.openapi.models.V1ConfigMapList;
import io.kubernetes.client.util.CallGeneratorParams;
import java.util.Set;

/** Watch one ConfigMap with an informer of the official Java client; what it reads and prints: CONTRACT.md. */
public final class InformerProgram {
    // Without retry: it asks anew by itself. Without read-timeout: the factory refuses a client that has one. Without
    // tcp-user-timeout: the JDK has no such socket option.
    private static final Set<String> PROFILES =
            Set.of("default", "tcp-keepalive-os", "tcp-keepalive", "watch-timeout", "bookmarks", "http2-ping");

    public static void main(String[] arguments) throws Exception {
        Program program = new Program(PROFILES);
        ApiClient client = program.client();
        boolean bookmarks = program.profile.equals("bookmarks");
        boolean timeout = program.profile.equals("watch-timeout");
        if (timeout) {
            program.settings.put("watch_timeout_seconds", (int) Program.number("WATCH_TIMEOUT"));
        }
        if (bookmarks) {
            program.settings.put("bookmarks", true);
        }
        client.setHttpClient(client.getHttpClient().newBuilder()
                .addInterceptor(chain -> {
                    okhttp3.Response response = chain.proceed(chain.request());
                    boolean watch = "true".equals(chain.request().url().queryParameter("watch"));
                    if (watch && response.isSuccessful()) {
                        Program.emit("watching", "protocol", response.protocol().toString());
                    }
                    return response;
                })
                .build());

        CoreV1Api v1 = new CoreV1Api(client);
        SharedInformerFactory factory = new SharedInformerFactory(client);
        factory.sharedIndexInformerFor(
                        (CallGeneratorParams params) -> v1.listNamespacedConfigMap(Program.NAMESPACE)
                                .fieldSelector(Program.SELECTOR)
                                .resourceVersion(params.resourceVersion)
                                .timeoutSeconds(
                                        params.watch && timeout
                                                ? (Integer) (int) Program.number("WATCH_TIMEOUT")
                                                : params.timeoutSeconds)
                                .allowWatchBookmarks(bookmarks ? true : null)
                                .watch(params.watch)
                                .buildCall(null),
                        V1ConfigMap.class,
                        V1ConfigMapList.class)
                .addEventHandler(new ResourceEventHandler<>() {
                    @Override
                    public void onAdd(V1ConfigMap configMap) {
                        Program.observed(configMap);
                    }

                    @Override
                    public void onUpdate(V1ConfigMap old, V1ConfigMap configMap) {
                        Program.observed(configMap);
                    }

                    @Override
                    public void onDelete(V1ConfigMap configMap, boolean lastStateUnknown) {}
                });

        program.started();
        factory.startAllRegisteredInformers();
        Thread.currentThread().join(); // the informer works in threads of its own
    }
}
